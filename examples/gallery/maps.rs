//! Maps, and an inference from one.

use armilla::pipeline::Method;
use armilla::plot::{
    Curve, FieldPanel, Fields, Inference, Loss, Spectra, SpectrumCurve, fields, inference, loss, spectra,
};
use armilla::simulators::Simulator;
use armilla::stats::power_spectrum;

use super::{Example, Gallery, SIDE, TRUTH, random};

fn single(map: &[f64]) -> Vec<f32> {
    map.iter().map(|&x| x as f32).collect()
}

pub fn draw(gallery: &mut Gallery, example: &Example) -> armilla::Result<()> {
    let found = example.infer(Method::Mle, 100)?;
    let estimate: Vec<f64> = found.report.parameters.iter().map(|p| p.estimate).collect();
    let simulate = |theta: &[f64], i: u64| example.field.simulate(theta, &mut random(i));
    let samples: Vec<Vec<f32>> = (1..5)
        .map(|i| Ok(single(&simulate(&estimate, i)?)))
        .collect::<armilla::Result<_>>()?;
    let observation = single(&example.map);
    let (title, label, box_size) = ("Maximum likelihood, map 0", "1 + δ", Some(200.0));
    let samples: Vec<&[f32]> = samples.iter().map(Vec::as_slice).collect();
    let parameters = &found.report.parameter_rows();
    let plot = Inference {
        title,
        observation: &observation,
        samples: &samples,
        side: SIDE,
        box_size,
        label,
        parameters,
    };
    let caption = "An observation, four samples at the estimate, and the parameters.";
    gallery.add("inference", "inference", caption, |path| inference(&plot, path))?;

    let history = found.run.estimate.as_ref().map_or(&[][..], |e| &e.history);
    let curves = &[Curve {
        label: "best start",
        values: history,
    }];
    let plot = Loss {
        title,
        curves,
        step: "iteration",
        quantity: "−ln p(map | θ)",
    };
    gallery.add("mle_loss", "loss", "How an optimiser went down.", |path| {
        loss(&plot, path)
    })?;

    let thetas = [
        [0.15, 0.7],
        [0.15, 0.95],
        [0.3, 0.7],
        [0.3, 0.95],
        [0.45, 0.7],
        [0.45, 0.95],
    ];
    let maps: Vec<Vec<f32>> = thetas
        .iter()
        .map(|theta| Ok(single(&simulate(theta, 9)?)))
        .collect::<armilla::Result<_>>()?;
    let titles = thetas.map(|[m, s]| format!("Ωₘ = {m}, σ₈ = {s}"));
    let panels: Vec<FieldPanel<'_>> = titles
        .iter()
        .zip(&maps)
        .map(|(title, map)| FieldPanel { title, map })
        .collect();
    let plot = Fields {
        panels: &panels,
        side: SIDE,
        box_size,
        label,
    };
    let caption = "Maps with one colour bar: the same noise, other parameters.";
    gallery.add("maps", "fields", caption, |path| fields(&plot, path))?;

    let measured = [TRUTH, [0.2, 0.95]]
        .iter()
        .map(|theta| {
            let of_map = |i: u64| {
                let contrast: Vec<f64> = simulate(theta, i)?.iter().map(|x| x - 1.0).collect();
                power_spectrum(&contrast, SIDE, 200.0)
            };
            (10..50).map(of_map).collect::<armilla::Result<Vec<_>>>()
        })
        .collect::<armilla::Result<Vec<_>>>()?;
    let k = &measured[0][0].wavenumbers;
    let moments = measured.iter().map(|set| {
        let of_ring = |j: usize| {
            let mean = set.iter().map(|s| s.power[j]).sum::<f64>() / set.len() as f64;
            let square =
                set.iter().map(|s| (s.power[j] - mean).powi(2)).sum::<f64>() / (set.len() - 1) as f64;
            (mean, square.sqrt())
        };
        (0..k.len()).map(of_ring).unzip::<f64, f64, Vec<_>, Vec<_>>()
    });
    let moments: Vec<_> = moments.collect();
    let labels = ["Ωₘ = 0.31, σ₈ = 0.82", "Ωₘ = 0.2, σ₈ = 0.95"];
    let curves: Vec<SpectrumCurve<'_>> = moments
        .iter()
        .zip(labels)
        .map(|((power, sd), label)| SpectrumCurve {
            label,
            wavenumbers: k,
            power,
            deviation: Some(sd),
        })
        .collect();
    let plot = Spectra {
        curves: &curves,
        dimension: 2,
    };
    let caption = "Power spectra of forty fields each, with their scatter, and the ratio to the first.";
    gallery.add("spectra", "spectra", caption, |path| spectra(&plot, path))
}
