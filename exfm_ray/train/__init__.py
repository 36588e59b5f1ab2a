"""The one-pass loop, the FM's stream and the fleet of VMs on Ray Train."""
