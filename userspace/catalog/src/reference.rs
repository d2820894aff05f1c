//! The reference page and the other forms of the table.
