class MemoryConversionError(Exception):
    def __init__(self, source_type, target_type, method, reason):
        self.source_type, self.target_type, self.method, self.reason = source_type, target_type, method, reason
        super().__init__(f"Cannot convert from {source_type} to {target_type} using {method}. Reason: {reason}")
