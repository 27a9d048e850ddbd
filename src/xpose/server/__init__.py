"""An HTTP server for detection: `xpose serve`.

    limits      what a request may contain, and how requests are refused
    parsing     the body of a request -> pictures, prompts and options, all of which are untrusted
    batching    pictures of all requests -> calls of the network, with a bounded queue and deadlines
    banks       the prompt banks that were posted
    service     what the server does, independent of HTTP: detection, prompt banks, what there is to know
    metrics     measurements for Prometheus
    openapi     the description of the interface, with examples
    app         the ASGI application: routes, API keys, one log line per request
    on_ray      the same application as a deployment of Ray Serve
    running     the socket, slow clients, and the end of the process

Pictures are never written to disk or to the log, and no address in a request is ever opened.
"""
