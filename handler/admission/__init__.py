"""Reviews in and out: the wire format, pods, and edits of the profile."""
