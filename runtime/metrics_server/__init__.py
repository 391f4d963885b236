"""Tells autoscalers how much paid work waits. Unknown is not zero. docs/autoscaling.md tells all."""
