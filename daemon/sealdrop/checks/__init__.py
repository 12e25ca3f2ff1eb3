"""What `sealdrop check` looks at, and what `sealdrop run` refuses to start without."""
