"""One view per route; what they do is in `actions`, what they show in `serializers`."""
