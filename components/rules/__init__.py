"""What a stack's objects permit, in money, rights, images and pods: pure functions, for reports and for policies."""
