"""The Pulumi side: settings, pure manifests, and the components that declare them."""
