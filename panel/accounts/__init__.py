"""Who people are: the user model and sign-in."""
