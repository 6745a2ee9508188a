"""A simulated competition, in the format of the real one, of tomograms made from physics."""

from motors.simulate.disk import VERSION, competition, render, specimen, tomogram
from motors.simulate.recipe import RECIPES, Plan, Recipe, plans
from motors.simulate.scene import Scene

__all__ = ["RECIPES", "VERSION", "Plan", "Recipe", "Scene", "competition", "plans", "render", "specimen", "tomogram"]
