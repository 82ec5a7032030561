//! Whole-broker simulation.
