"""The one way in which an operation says no."""

from typing import Any


class RefusedError(Exception):
    """An answer that is not success: HTTP status, the published error code, a message for people, further fields."""

    def __init__(self, status: int, code: str, message: str = "", **fields: Any) -> None:
        super().__init__(f"{status} {code}: {message}")
        self.status = status
        self.code = code
        self.message = message
        self.fields = fields

    def body(self) -> dict[str, Any]:
        """`{"error": code, "message"?: text, …}`, the published shape."""
        return {"error": self.code} | ({"message": self.message} if self.message else {}) | self.fields
