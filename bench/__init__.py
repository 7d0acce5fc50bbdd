"""What the gateway costs beside a bare gRPC server, measured on the machine that it runs on."""
