//! Train conditional generative models and read them as differentiable likelihoods.
