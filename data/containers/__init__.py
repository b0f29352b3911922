"""What the containers of clips say of their own extent, against what the files hold."""
