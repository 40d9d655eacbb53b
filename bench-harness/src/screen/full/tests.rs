//! What a terminal shows.
