"""The cascade room: what the VMs of three stages show together, compared with the true best. Knows no Ray."""
