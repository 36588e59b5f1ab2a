"""The joint search of label scaling, gradient scaling and loss weighting: Optuna asks, VMs' variants answer."""
