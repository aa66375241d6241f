"""What an installation is made of: the image, the Compose files, the systemd units."""
