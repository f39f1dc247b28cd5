from samplers import *
from samplers.internals import *
