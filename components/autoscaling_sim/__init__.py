"""What the autoscaler would do with a trace of the queue, by the HPA controller's algorithm; docs/autoscaling.md."""
