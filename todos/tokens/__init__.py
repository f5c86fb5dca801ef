"""Who may use the API: keys, the tokens signed with them, and their verification. The edge verifies by itself."""
