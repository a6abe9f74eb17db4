"""A daemon that owns a container registry's name and redirects each client to the right one."""
