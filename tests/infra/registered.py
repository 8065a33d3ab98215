"""Prints how many deployments there are: what the process that registers them imports."""

from flows.deployments import every
from mrl4rec.core.settings import Settings

print(len(every(Settings())))
