"""`python -m runtime.operator`: ends on SIGTERM from its first moment on, and in good order once it serves."""

import signal
import sys

# A container's first process ignores a signal that it has no handler for, and loading the rest takes seconds of a pod
# at 200m: told to stop by then, it would use up its grace period. `process` takes the signal over once there is work.
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))

if __name__ == "__main__":
    from runtime.operator.process import main

    sys.exit(main())
