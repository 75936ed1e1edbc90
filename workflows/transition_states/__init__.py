"""Transition states: found from a guess or between two minima, verified, and connected to what they lead to."""

from atomsym.workflows.transition_states.result import TransitionStateResult
from atomsym.workflows.transition_states.run import resume_ts, run_ts
from atomsym.workflows.transition_states.settings import TransitionStateSettings

__all__ = ["TransitionStateResult", "TransitionStateSettings", "resume_ts", "run_ts"]
