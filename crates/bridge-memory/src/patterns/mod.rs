//! Conversions kept, put off and merged, and devices given out to threads.
