"""What can be written on the command line, by name: as it is found when the package is loaded, which help does not wait for."""

METHODS = (
    "AugmentedOcclusion",
    "FIT",
    "FeatureOcclusion",
    "GradCAM",
    "GuidedBackprop",
    "InputXGradient",
    "IntegratedGradients",
    "KernelShap",
    "LearnedAttention",
    "Occlusion",
    "Saliency",
    "ShapleyInteractions",
    "ShapleySampling",
    "SmoothGrad",
    "TemporalRescaling",
    "WinIT",
)
BASELINES = (
    "Constant",
    "Mean",
    "Blur",
    "Samples",
    "AutoRegressive",
    "BandStop",
    "Bridge",
    "Climatology",
    "ConditionalGaussian",
    "Gaussian",
    "Generator",
    "Hold",
    "Inpaint",
    "Jitter",
    "JointGenerator",
    "Marginal",
    "MaximumDistance",
    "Missing",
    "Mixture",
    "Mode",
    "PhaseRandomised",
    "Typical",
    "Uniform",
)
GROUPS = ("Cells", "Windows", "Along")
PARTS = ("bands", "harmonics", "octaves", "trend_season")  # those that need nothing but the signal
MISSING = ("value", "invalid")
