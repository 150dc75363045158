"""ECI Profile: a mutating admission webhook that sends pods to virtual nodes by label."""
