"""What tests share, by subject (fixtures are in the conftest.py of the folders that use them).

Beside this file:
    folder_contents         the files in a folder, to see whether something changed them
    paths                   where the checkout and the data beside it are

exports/: small exports
    animal_export           a network that knows five animals, and its exports in all forms
    exporting               export a network without the command; write symbol files without a check
    onnx_files              write a network as ONNX, run it in ONNX Runtime, compare the outputs
    small_export            the smallest export, whose copies tests damage

images/: made-up images, and the real ones beside the checkout
    cifar_archives          CIFAR in every format, in folders and archives, and checks of what is read
    cifar_colours           the published mean and deviation of CIFAR's colours
    cifar_slice             the first images of the real CIFAR-10
    class_folders           train/CLASS/* and test/CLASS/* for --dataset folder, and archives of them
    listed_batches          batches as lists, which == compares
    made_up_images          pixels, image files, CIFAR's binary files, ImageNet's folders
    photographs             the real photographs
    random_images           standard normal values of any shape

learners/: training below the level of runs
    mxnet_learner           a small network in MXNet's learner, on one device or two
    stub_learner            a learner that only keeps its arrays, and the state of a checkpoint
    torch_processes         PyTorch's learner in one process or several; also the script of these
    training_steps          a random batch, and the difference between what two learners have learned

networks/: small networks, their parameters, comparisons of them
    both_libraries          outputs and gradients in MXNet and in PyTorch, and their difference
    digits_network          a network that knows the handwritten digits
    gate_statistics         a gate's statistics, calculated from all of its values
    imagenet_hosts          small networks in ResNet-50's place; also train_imagenet.py with one of them
    numpy_layers            layers written from the papers, and checks of Gluon blocks against them
    parameter_files         a network's parameters in files of every kind
    parameters              initial values, moved running statistics, structural names
    safetensors             write safetensors files
    torch_networks          the networks of torchvision and timm
    toys                    one registered extension of each kind: unit, host, form, runtime, backend
    trained_network         a network of five classes after three training steps, and its manifest

pages/: documents, web pages, servers
    browser                 render a page in a headless browser, and check its accessibility
    documents               the code blocks, links and headings of the documents
    made_up_comparison      groups of made-up runs, to compare
    web                     serve a folder or a handler on this machine

processes/: scripts, commands, processes
    child_environment       the environment of a process that a test starts
    cluster_worker          the script of one worker, whose actions a test names
    commands                run `openatac COMMAND` in this process; read its CSV files
    fresh_python            run code in a new Python
    full_disk               a limit on file sizes that acts like a full disk
    hidden_packages         hide packages from a process, as if they were not installed
    imagenet_runs           small runs of train_imagenet.py in this process
    interrupted_runs        kill, stop and resume a small run; the outcome that must be equal
    launched                `openatac launch` as a process, and what it prints
    marked_processes        find all processes that a test has started, at any depth
    memory                  the suite's limit on memory, and the peak that it reports (a pytest plugin)
    scripts                 run the training scripts, in this process or another; read a run's files
    stub_driver             stand-ins for NVIDIA's libraries
"""
