//! Experiments on live traffic: arms, mirroring, background requests.

pub(crate) mod arms;
pub(crate) mod background;
pub(crate) mod mirroring;
