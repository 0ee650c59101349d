"""What `twistd` offers when gnt is installed: three daemons. Strings only, so that `twistd --help` stays quick."""

from twisted.application.service import ServiceMaker

masterd = ServiceMaker(
    "gnt-masterd", "gnt.masterd.tap", "The master of a gnt cluster: jobs and configuration", "gnt-masterd"
)
noded = ServiceMaker("gnt-noded", "gnt.noded.tap", "The hands of a gnt node: guests and disks", "gnt-noded")
rapi = ServiceMaker("gnt-rapi", "gnt.rapi.tap", "The remote API of a gnt cluster: REST over TLS", "gnt-rapi")
