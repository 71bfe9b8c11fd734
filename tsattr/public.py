"""What users find in the package at once: the verbs, the methods, and the modules that they are made of.

The root has these names too, and loads this module when the first of them is used: `import tsattr`, and the command line's
help, wait for no torch.
"""

from . import models as models
from .compare import compare as compare
from .core import baselines as baselines
from .core import groups as groups
from .core import targets as targets
from .core.method import registry as _registry
from .evaluate import evaluate as evaluate
from .explain import ExplanationWarning as ExplanationWarning
from .explain import explain as explain
from .methods.fit import FIT as FIT
from .methods.grad_cam import GradCAM as GradCAM
from .methods.gradient import InputXGradient as InputXGradient
from .methods.gradient import Saliency as Saliency
from .methods.gradient import SmoothGrad as SmoothGrad
from .methods.guided_backprop import GuidedBackprop as GuidedBackprop
from .methods.integrated_gradients import IntegratedGradients as IntegratedGradients
from .methods.interactions import ShapleyInteractions as ShapleyInteractions
from .methods.kernel_shap import KernelShap as KernelShap
from .methods.learned_attention import LearnedAttention as LearnedAttention
from .methods.occlusion import Occlusion as Occlusion
from .methods.rescaling import TemporalRescaling as TemporalRescaling
from .methods.shapley import ShapleySampling as ShapleySampling
from .methods.winit import AugmentedOcclusion as AugmentedOcclusion
from .methods.winit import FeatureOcclusion as FeatureOcclusion
from .methods.winit import WinIT as WinIT
from .models.lficam import LFICAM as LFICAM
from .prepare import prepare as prepare

METHODS = _registry()
"""The package's methods by name, all of them, as they are loaded."""
