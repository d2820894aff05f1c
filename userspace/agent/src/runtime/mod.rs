//! Container runtimes: which pod a container id belongs to.
