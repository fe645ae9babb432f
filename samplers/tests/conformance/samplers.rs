//! List every sampler that keeps the promises.

use armilla_samplers::prelude::*;

use crate::Toy;

pub type Named<T> = (&'static str, Box<dyn Sampler<T> + Sync>);

pub fn samplers() -> Vec<Named<Posterior<Toy>>> {
    let adam = Adam {
        iterations: 200,
        ..Adam::default()
    };
    let constant = Adam {
        schedule: Schedule::Constant,
        ..adam
    };
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
            "nuts of low rank",
            Box::new(Nuts {
                metric: MetricKind::LowRank,
                ..Nuts::default()
            }),
        ),
        (
            "dense nuts",
            Box::new(Nuts {
                metric: MetricKind::Dense,
                ..Nuts::default()
            }),
        ),
        (
            "ensemble",
            Box::new(Ensemble {
                walkers: Some(12),
                ..Ensemble::default()
            }),
        ),
        (
            "mixed ensemble",
            Box::new(Ensemble {
                walkers: Some(6),
                moves: vec![
                    (Move::Stretch, 1.0),
                    (Move::Differential, 2.0),
                    (Move::Snooker, 1.0),
                ],
                thinning: Some(1),
                batch_size: Some(2),
            }),
        ),
        ("smc", Box::new(Smc::default())),
        (
            "smc in small batches",
            Box::new(Smc {
                effective: 0.8,
                batch_size: 7,
            }),
        ),
        ("parallel tempering", Box::new(ParallelTempering::default())),
        (
            "two temperatures",
            Box::new(ParallelTempering {
                temperatures: 2,
                thinning: Some(5),
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
        (
            "grid at a value",
            Box::new(Grid {
                batch_size: 4,
                ..Grid::new(30).fixing("b", 2.0)
            }),
        ),
        ("profile grid", Box::new(Grid::new(12).profiling("b"))),
        (
            "profile grid by gradients",
            Box::new(Grid::new(12).profiling("b").with_profiler(Lbfgs::default())),
        ),
        ("mle lbfgs", Box::new(Mle::default())),
        ("mle adam", Box::new(Mle::new(adam))),
        ("mle nelder-mead", Box::new(Mle::new(NelderMead::default()))),
        ("map lbfgs", Box::new(Map::default())),
        ("map adam", Box::new(Map::new(constant))),
        ("map nelder-mead", Box::new(Map::new(NelderMead::default()))),
        (
            "advi full rank",
            Box::new(Advi {
                iterations: 300,
                ..Advi::default()
            }),
        ),
        (
            "advi mean field",
            Box::new(Advi {
                family: Family::MeanField,
                iterations: 150,
                draws_per_step: 6,
                reweight: false,
                ..Advi::default()
            }),
        ),
    ]
}
