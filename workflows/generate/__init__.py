"""``atomsym generate``: from conditions to ranked crystals and a gallery."""

from atomsym.workflows.generate.run import Generated, resume_generate, run_generate
from atomsym.workflows.generate.settings import GenerateSettings

__all__ = ["GenerateSettings", "Generated", "resume_generate", "run_generate"]
