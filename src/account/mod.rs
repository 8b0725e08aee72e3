//! One provider at one address with one credential: rate limits, TLS, health and listings belong to it.
