"""A local stand-in for the vendor's face search endpoint, over real HTTP.

For trying the gateway out, for tests and for benchmarks: `facegate sandbox` and `facegate demo` start it, nothing else
of the gateway imports it. It speaks the vendor's published page and keeps no state but folders of photos:

    POST /faceset/v2/search_face    as the vendor's page says
    GET|POST|DELETE /__sandbox/faults    what to do wrong, see `faults.py`
    GET|POST|DELETE /__sandbox/stats     what was asked for, see `stats.py`

Pillow decodes the photos: `pip install 'facegate[sandbox]'`.
"""
