"""What readers of raw logs share: files in byte ranges, rows by group, bucket of users and time slice, histories."""
