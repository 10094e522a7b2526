//! Compiled schemas, resolution by app version, and the check itself.
