//! One partition as its leader sees it. So far: what it knows of its idempotent producers.

pub mod producers;
