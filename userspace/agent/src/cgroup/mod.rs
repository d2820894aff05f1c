//! Control groups: which hierarchy accounts, what a path says, what the files say.
