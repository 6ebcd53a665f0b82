"""What a browser, and ``tsh`` before it has certificates, sees of the cluster: the web API and the pages."""
