"""What people watch: live progress, and what the dashboard's page asks for."""
