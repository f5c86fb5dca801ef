"""What the pipeline is compared with, each as small as it can fairly be."""
