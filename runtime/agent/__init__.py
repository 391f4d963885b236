"""The Fly.io agent: sells inferences, each locked, worked, and released or cancelled, on record before it is sent."""
