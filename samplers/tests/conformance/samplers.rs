//! List every sampler that keeps the promises.

use armilla_samplers::prelude::*;

use crate::Toy;

pub type Named<T> = (&'static str, Box<dyn Sampler<T> + Sync>);

pub fn samplers() -> Vec<Named<Posterior<Toy>>> {
    let adam = Optimiser::Adam(Adam {
        iterations: 200,
        ..Adam::default()
    });
    vec![
        ("metropolis", Box::new(MetropolisHastings::default())),
        ("hmc", Box::new(Hmc::default())),
        (
            "dense hmc",
            Box::new(Hmc {
                metric: MetricKind::Dense,
                ..Hmc::default()
            }),
        ),
        ("nuts", Box::new(Nuts::default())),
        (
            "dense nuts",
            Box::new(Nuts {
                metric: MetricKind::Dense,
                ..Nuts::default()
            }),
        ),
        ("mala", Box::new(Mala::default())),
        (
            "dense mala, every step",
            Box::new(Mala {
                metric: MetricKind::Dense,
                thinning: Some(1),
                ..Mala::default()
            }),
        ),
        ("mclmc", Box::new(Mclmc::default())),
        (
            "dense unadjusted mclmc",
            Box::new(Mclmc {
                adjusted: false,
                metric: MetricKind::Dense,
                ..Mclmc::default()
            }),
        ),
        ("chees", Box::new(ChEesHmc::default())),
        (
            "chees, dense",
            Box::new(ChEesHmc {
                metric: MetricKind::Dense,
                ..ChEesHmc::default()
            }),
        ),
        ("grid", Box::new(Grid::new(20))),
        (
            "refined grid",
            Box::new(Grid {
                refine: true,
                batch_size: 7,
                ..Grid::new(12)
            }),
        ),
        ("mle lbfgs", Box::new(Mle::default())),
        (
            "mle adam",
            Box::new(Mle {
                optimiser: adam,
                ..Mle::default()
            }),
        ),
        ("map lbfgs", Box::new(Map::default())),
        (
            "map adam",
            Box::new(Map {
                optimiser: adam,
                ..Map::default()
            }),
        ),
    ]
}
