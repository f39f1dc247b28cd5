from samplers import *
