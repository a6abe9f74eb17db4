"""The name tag by which ``twistd`` finds regroute; everything else is in ``regroute.tap``."""

from twisted.application.service import ServiceMaker

regroute = ServiceMaker(
    "regroute",
    "regroute.tap",
    "Sends every container registry client to the right registry with a redirect.",
    "regroute",
)
