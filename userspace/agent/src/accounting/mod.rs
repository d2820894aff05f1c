//! The arithmetic between kernel records and points: takes events and `now`, owns no clock, file or channel.
