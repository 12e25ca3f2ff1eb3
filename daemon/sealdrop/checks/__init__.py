"""What `sealdrop check` looks at, and what `sealdrop run` refuses to start without.

`survey` has everything looked at, in order; `findings` is the one table of conditions, what each means and whether the
service starts with it (docs/check.md shows the same table). `looking` gathers the facts of a file or folder, in a child
process where it may hang or must have another user's rights (`eyes`), and `folders` and `files` judge them. The others
each look at one thing: `settings`, `anchors`, `accounts`, `state`, `trail`, `outlets`, `clocks`. `unit` knows what a
systemd unit lets the service reach, `surroundings` asks this machine what it needs for that.

Nothing here changes anything on disk, takes a lock or prints a secret.
"""
